"""What is seen beside the requests: the machine, the server's steps, figures over time."""
