"""Latency, throughput and the machine's peak, measured side by side; and the report of the demo."""
