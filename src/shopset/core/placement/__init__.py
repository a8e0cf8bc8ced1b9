"""Placement: which ShopSets serve which shops. Pure: arrays and values in, a new placement and its moves out."""
