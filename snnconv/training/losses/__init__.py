"""What training a spiking network lowers, a file each."""
