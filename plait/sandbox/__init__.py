"""Local stand-ins of the vendors' services: real work where a stand-in can, faults, and effect counters."""
