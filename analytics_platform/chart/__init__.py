"""Tables as pictures: rows asked for in SQL, drawn in a terminal or as SVG and PNG."""
