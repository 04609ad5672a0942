"""What the page is made of: template, styles, scripts."""
