"""Measures what the store costs: ours, the raw driver and the library `eventsourcing` side by side. `make bench` runs it.

*Raw* is the driver's fastest way into a table with the same columns, indexes, triggers and durability settings as ours,
making its own ids and rows from the same inputs; *bare* is the same into a table without indexes and triggers. Neither
checks names or versions, numbers streams, holds a counter against rivals, nor tells a caller what was recorded.
"""
