"""`python -m npae` prints the version and what npae computes with."""

import npae

if __name__ == "__main__":
    print(f"npae {npae.__version__}")
    for name, value in npae.backend_info().items():
        print(f"{name:<14}{value}")
