"""The page a clinician uses in the browser; it talks to the API over HTTP and knows no model."""
