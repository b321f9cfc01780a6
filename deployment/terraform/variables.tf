variable "name" {
  description = "prefix of everything's name"
  type        = string
  default     = "medassets"
}

variable "subnet_ids" {
  description = "private subnets, in two zones or more"
  type        = list(string)
}

variable "vpc_id" {
  description = "network of the subnets"
  type        = string
}

variable "cluster_role_arn" {
  description = "role of the cluster's control plane"
  type        = string
}

variable "node_role_arn" {
  description = "role of the nodes"
  type        = string
}

variable "gpu_nodes" {
  description = "most nodes of the GPU pool; 0: none"
  type        = number
  default     = 0
}
