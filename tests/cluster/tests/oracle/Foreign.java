// Reads a topic with Apache's own client: arguments are bootstrap servers, topic, number of records.
// A line for each: "record", partition, offset, key, value, and each header as name=value; bytes in
// base64, "-" for none.

import java.time.Duration;
import java.util.Base64;
import java.util.Map;
import java.util.stream.Collectors;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

class Foreign {
    static String text(byte[] bytes) {
        return bytes == null ? "-" : "b" + Base64.getEncoder().encodeToString(bytes);
    }

    public static void main(String[] args) {
        Map<String, Object> settings = Map.of("bootstrap.servers", args[0]);
        var bytes = new ByteArrayDeserializer();
        try (var consumer = new KafkaConsumer<>(settings, bytes, bytes)) {
            var partitions = consumer.partitionsFor(args[1]).stream()
                .map(info -> new TopicPartition(info.topic(), info.partition()))
                .collect(Collectors.toList());
            consumer.assign(partitions);
            consumer.seekToBeginning(partitions);
            long end = System.currentTimeMillis() + 30_000;
            int wanted = Integer.parseInt(args[2]);
            while (wanted > 0 && System.currentTimeMillis() < end) {
                for (var record : consumer.poll(Duration.ofMillis(200))) {
                    wanted--;
                    var line = new StringBuilder("record ").append(record.partition());
                    line.append(' ').append(record.offset());
                    line.append(' ').append(text(record.key()));
                    line.append(' ').append(text(record.value()));
                    for (var header : record.headers()) {
                        line.append(' ').append(header.key()).append('=');
                        line.append(text(header.value()));
                    }
                    System.out.println(line);
                }
            }
        }
    }
}
