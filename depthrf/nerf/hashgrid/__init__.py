"""Multi-resolution hash encoding: one contract, several implementations (see ``contract.py``)."""
