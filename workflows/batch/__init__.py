"""Directories of scenes become directories of products: `espcn batch`, and every night."""
