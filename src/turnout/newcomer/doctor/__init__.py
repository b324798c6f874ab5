"""What would hinder a gateway, found before it starts: each room looks at one thing and changes nothing."""
