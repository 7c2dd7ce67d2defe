"""What commands show: records as JSON types with documented fields, and as text."""
