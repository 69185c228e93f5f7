"""How true a load generator's figures are: ours and its peers against a server that logs what really happened."""
