"""What the commands do, as functions: one typed call each."""
