"""Comparisons on a Ray cluster: engine sets in placement groups, cells beside them."""
