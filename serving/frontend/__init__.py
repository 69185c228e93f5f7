"""HTTP: two wire protocols in front of one engine. All that knows text, JSON and clients lives here."""
