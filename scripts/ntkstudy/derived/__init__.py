"""Tables made of tables."""
