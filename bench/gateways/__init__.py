"""How gateways are measured side by side: rows of peers, bodies, load, figures and the page that shows them."""
