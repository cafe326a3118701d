"""What an operator sees: Prometheus metrics of this process."""

from prometheus_client import Counter, Gauge

connections = Gauge("rooms_connections", "Open connections", ["transport"])
connects = Counter("rooms_connects", "Connections opened", ["transport"])
disconnects = Counter("rooms_disconnects", "Connections ended, by close code", ["transport", "code"])
refused = Counter("rooms_refused", "Handshakes and requests refused, by close or error code", ["transport", "code"])
joins = Counter("rooms_joins", "Joins answered, by verdict or error code", ["verdict"])
commands = Counter("rooms_commands", "Commands, by outcome", ["name", "outcome"])
transaction_retries = Counter("rooms_transaction_retries", "Transactions run again after a deadlock")
batches = Counter("rooms_batches", "Transactions of grouped commands")
events = Counter("rooms_events", "Events announced to this node, by where they came from", ["source"])
deliveries = Counter("rooms_deliveries", "Events written to connections")
frames = Counter("rooms_frames", "Frames written to connections")
skipped = Counter("rooms_skipped", "Events that the policy let go for readers who were behind")
dropped = Counter("rooms_dropped", "What this node let go, by reason", ["reason"])
heals = Counter("rooms_heals", "Events or histories that the log mended, by what was wrong", ["reason"])
publishes = Counter("rooms_publishes", "Messages to the channel layer, by outcome", ["outcome"])
log_reads = Counter("rooms_log_reads", "Reads of a room's log by this node")
feeds = Gauge("rooms_feeds", "Rooms that this node follows")
ring_bytes = Gauge("rooms_ring_bytes", "Bytes of events held for readers")
loop_lag = Gauge("rooms_loop_lag_seconds", "How late the event loop was, last second")
