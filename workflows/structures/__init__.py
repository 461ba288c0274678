"""Bulk structures and the symmetric slabs cut from them."""
