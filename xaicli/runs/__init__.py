"""What commands and Python share: explaining, scoring and comparing many photos."""
