"""Ground floor: errors, element types, names, targets; nothing here knows a whole graph."""
