"""The demo shop: 90 days of orders, payments, wallets and tickets of three tenants, made up but believable."""

from webapp.demo.make import make_demo
from webapp.demo.shop import domain

__all__ = ["domain", "make_demo"]
