"""What HAProxy is told: configuration and maps from the placement and what it says of the fleet. Pure."""
