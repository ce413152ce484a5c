"""The HTTP server: the page, and what else is asked for over HTTP. Only `serve --http` imports it, and Tornado only its own thread."""
