"""Structures as stored: files read and checked, documents with an explicit schema."""
