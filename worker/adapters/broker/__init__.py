"""RabbitMQ over aio-pika: a reconnecting connection, a consumer that settles, a publisher with confirms."""
