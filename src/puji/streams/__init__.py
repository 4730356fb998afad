"""Device streams: readings of bedside and wearable devices come in over MQTT, forecasts and alerts go out. See README.md."""
