"""RabbitMQ over aio-pika: a connection that is kept up, one consumer that settles, one publisher that confirms."""
