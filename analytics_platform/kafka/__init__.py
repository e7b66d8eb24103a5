"""WHERE a micro-batch comes from: the only home of confluent_kafka."""
