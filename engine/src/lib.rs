//! The clipsieve engine: pipeline files, their compiler, plans, and runs on timely dataflow. Knows no video and no model.
