"""Problems that are told by themselves: found by rules, kept in home while they last, sent to a webhook."""
