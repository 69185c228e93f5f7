"""The serving stack: HTTP front end, engine, link, agent, model. It knows nothing of who loads or judges it."""
