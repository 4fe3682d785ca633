"""Published runs of other programs as run directories, for `atts import`."""
