"""Set-up of Elasticsearch and Kibana for records, derived from `features.yaml` and `config.yaml`."""
