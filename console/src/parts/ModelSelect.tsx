import { useEffect } from "preact/hooks";
import { signal } from "@preact/signals";
import { useModels } from "../state/queries";
import { SelectField } from "./Field";

/** The model that the rooms work on, the same in all of them. */
export const chosenModel = signal<string | null>(null);

/** Shown where there are several; with one, there is nothing to choose. */
export function ModelSelect() {
  const models = useModels();
  const first = models.data?.[0]?.name;
  useEffect(() => {
    if (first && (chosenModel.value === null || !models.data?.some((model) => model.name === chosenModel.value))) {
      chosenModel.value = first;
    }
  }, [first]);
  if (!models.data || models.data.length < 2) return null;
  return (
    <SelectField
      label="Model"
      value={chosenModel.value ?? ""}
      options={models.data.map((model) => [model.name, model.name] as const)}
      onChange={(name) => {
        chosenModel.value = name;
      }}
    />
  );
}
