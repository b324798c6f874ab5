"""Clients pointed at a gateway: what to set in each, and how that gets into files that have other things in them."""
