import Embed from "./embed";

export default function Page() {
  return <Embed />;
}
