"""RabbitMQ: the only room that speaks AMQP, and the only one that knows aio-pika's edges."""
