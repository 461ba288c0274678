"""Pages over a store for a browser, read only, and the same as JSON: `mgsurf serve`."""
