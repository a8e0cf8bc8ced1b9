"""Capacity: how much there is, how much is taken, and what one ShopSet bears. Pure."""
