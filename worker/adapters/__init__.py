"""The only modules that talk to brokers, mail servers, databases, files and the network."""
