// The models that are measured, by the names of their kind on the Hub.

export const VIT_B_32 = "clip-vit-base-patch32";
export const SIGLIP_2 = "siglip2-base-patch16-224";
