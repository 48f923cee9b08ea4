"""What Elasticsearch and Kibana need for the records, made from `features.yaml` and `config.yaml`."""
