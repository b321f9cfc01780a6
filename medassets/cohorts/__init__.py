"""Who is studied: table schemas, splits that do not leak, simulated patients. No features, no models."""
