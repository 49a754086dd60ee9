"""Made-up calls: messages from their descriptors, raw bytes, and what must never be answered."""
