"""What other programs measured of versions, kept with them."""
