"""The HTML report: its page, the style of figures, vector graphics."""
