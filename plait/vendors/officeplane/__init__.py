"""OfficePlane: office documents, ingested, planned, edited and verified (officeplane.md)."""
